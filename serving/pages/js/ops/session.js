// The admin key: asked for when the API wants one, exchanged for a cookie, and given back at sign-out. The key itself is not kept.

import { h } from "../dom.js";
import { ApiError, request } from "../http.js";
import { icon, setText } from "./updates.js";

/** Returns {unlock(error)}, which resolves once the API took a key; `button` signs out and is shown while that means anything. */
export function session(button) {
  const why = h("p", { class: "notice", "data-tone": "warn" });
  const key = h("input", { class: "input", type: "password", name: "key", required: true, autocomplete: "current-password", "aria-describedby": "key-failed" });
  const failed = h("p", { class: "field-error", id: "key-failed", role: "alert" });
  const enter = h("button", { class: "button button-primary" }, "Unlock");
  const form = h("form", { method: "dialog" },
    // Password managers keep a key under a name.
    h("input", { type: "text", name: "username", value: "operator", autocomplete: "username", hidden: true }),
    h("label", { class: "field" }, h("span", {}, "Admin key"), key), failed,
    h("p", { class: "hint" }, "A key of ", h("code", {}, "api.keys"), " with the scope ", h("code", {}, "admin"), ". The browser gets a session cookie for 12 hours; the key is not stored. With no keys configured this page is open, on loopback only."),
    h("div", { class: "button-row button-row-end" }, enter));
  const dialog = h("dialog", { class: "key", "aria-labelledby": "key-title" },
    h("header", { class: "dialog-head" }, h("h2", { id: "key-title" }, "This page needs an admin key")), why, form);
  // Without a key there is nothing behind the dialog to go back to.
  dialog.addEventListener("cancel", (event) => event.preventDefault());
  document.body.append(dialog);
  let taken = () => {};

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    enter.disabled = true;
    setText(failed, "");
    try {
      await request("/v1/session", { method: "POST", json: { key: key.value } });
      key.value = "";
      dialog.close();
      taken();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      setText(failed, error.status === 401 ? "The API does not know this key." : error.message);
      key.select();
    } finally {
      enter.disabled = false;
    }
  });

  button.addEventListener("click", async () => {
    await request("/v1/session", { method: "DELETE" });
    location.reload();
  });

  return {
    unlock(error) {
      why.hidden = error.status !== 403;
      why.replaceChildren(icon("triangle-alert"), h("span", {}, "The key in use may not see this page: it lacks the scope admin."));
      if (!dialog.open) dialog.showModal();
      return new Promise((resolve) => (taken = resolve));
    },
    /** Show the sign-out button where there is a session to end. */
    async offerSignOut() {
      const { open } = await request("/v1/session").catch(() => ({ open: true }));
      button.hidden = open;
    },
  };
}
