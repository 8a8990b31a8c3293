/**
 * The upload sheet: a clip (or only a title), sent with its progress, then its way through perception, live. "Show it" brings it
 * to the front of what comes next.
 */

import { byId, h } from "../dom.js";
import { refusal } from "../http.js";
import { videos } from "./api.js";
import { asked, makeCard } from "./card.js";
import { viewerId } from "./identity.js";
import { Steps } from "./steps.js";
import { toast } from "./toast.js";
import { duration } from "./words.js";

const SERVABLE_WITHIN_MS = 5_000;

export class Upload {
  /** @param {import("./feed.js").Feed} feed */
  constructor(feed) {
    this.feed = feed;
    this.sheet = byId("upload");
    this.form = byId("upload-form");
    this.input = byId("upload-file");
    /** @type {Steps | null} */
    this.steps = null;
    this.request = null;
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    this.input.addEventListener("change", () => this.#chosen());
    byId("upload-again").addEventListener("click", () => this.#reset());
    byId("upload-show").addEventListener("click", () => this.#show());
    // A way that ended while the sheet was closed is still there to be looked at, once.
    this.sheet.addEventListener("close", () => {
      if (this.steps?.done) this.#reset();
    });
    const drop = byId("upload-drop");
    for (const name of ["dragover", "drop", "dragleave"]) {
      this.sheet.addEventListener(name, (event) => {
        event.preventDefault();
        drop.toggleAttribute("data-over", name === "dragover");
        if (name === "drop" && event.dataTransfer.files.length) {
          this.input.files = event.dataTransfer.files;
          this.#chosen();
        }
      });
    }
  }

  open() {
    this.sheet.showModal();
  }

  #chosen() {
    const [file] = this.input.files;
    byId("upload-name").textContent = file ? `${file.name}, ${(file.size / 1e6).toFixed(1)} MB` : "Choose a clip, or drop one here";
    const title = byId("upload-title");
    if (file && !title.value) title.value = file.name.replace(/\.[^.]+$/, "").replace(/[-_]+/g, " ");
  }

  async #send() {
    const [file] = this.input.files;
    const title = byId("upload-title").value.trim();
    const tags = byId("upload-tags").value.split(",").map((tag) => tag.trim()).filter(Boolean);
    this.#stage("sending");
    try {
      const accepted = await this.#post(file, { title, tags, author_id: viewerId() });
      this.videoId = accepted.video_id;
      this.#stage("sent");
      this.steps = new Steps(this.videoId, Boolean(file), (step, ms) => this.#stepped(step, ms));
      byId("upload-steps").replaceChildren(this.steps.element);
      byId("upload-sent-title").textContent = title;
      byId("upload-show").focus();
    } catch (error) {
      this.#stage("asking");
      byId("upload-error").textContent = error.message;
    }
  }

  /** @returns {Promise<any>} the API's answer */
  #post(file, { title, tags, author_id }) {
    return new Promise((resolve, reject) => {
      const request = (this.request = new XMLHttpRequest());
      const bar = byId("upload-bar");
      bar.value = 0;
      request.open("POST", "/v1/uploads");
      request.upload.addEventListener("progress", (event) => {
        if (event.lengthComputable) bar.value = event.loaded / event.total;
      });
      request.addEventListener("load", async () => {
        if (request.status === 202) return resolve(JSON.parse(request.responseText));
        return reject(await refusal(request.status, request.getResponseHeader("Retry-After"), () => JSON.parse(request.responseText)));
      });
      request.addEventListener("error", () => reject(new Error("The connection was lost. Nothing was uploaded; try again.")));
      if (file) {
        const form = new FormData();
        form.append("author_id", author_id);
        form.append("title", title);
        for (const tag of tags) form.append("tags", tag);
        form.append("file", file);
        request.send(form);
      } else {
        request.setRequestHeader("Content-Type", "application/json");
        request.send(JSON.stringify({ author_id, title, tags }));
      }
    });
  }

  #stepped(step, ms) {
    if (step === "title") byId("upload-show").disabled = false;
    if (!this.sheet.open && step === "first_impression") {
      toast(`Your video had its first impression ${duration(ms)} after it was accepted.`, { label: "Its way", run: () => this.sheet.showModal() });
    }
  }

  /** Bring it to the front: where the feed placed it, else after the card in front, which it then says. */
  async #show() {
    const button = byId("upload-show");
    button.disabled = true;
    const card = this.#placed() ?? (await this.#renewed()) ?? (await this.#asked());
    button.disabled = false;
    if (!card) {
      byId("upload-error-sent").textContent = "It can’t be shown yet: try again in a moment.";
      return;
    }
    this.sheet.close();
    this.feed.show(card);
  }

  #placed() {
    return this.feed.cards.find((card) => card.item.video_id === this.videoId);
  }

  async #renewed() {
    try {
      await this.feed.renew("New since your upload");
    } catch {
      return undefined; // asking for the video itself will say what is wrong
    }
    return this.#placed();
  }

  async #asked() {
    const deadline = Date.now() + SERVABLE_WITHIN_MS;
    while (Date.now() < deadline) {
      const found = await videos([this.videoId]).catch(() => null);
      if (found?.videos.length) {
        const card = makeCard(asked(found.videos[0], "You asked to see it: the feed has not placed it for you"));
        this.feed.insertNext(card);
        return card;
      }
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    return undefined;
  }

  /** @param {"asking" | "sending" | "sent"} stage */
  #stage(stage) {
    this.sheet.dataset.stage = stage;
    this.form.hidden = stage === "sent";
    byId("upload-sent").hidden = stage !== "sent";
    byId("upload-progress").hidden = stage !== "sending";
    byId("upload-send").disabled = stage === "sending";
    for (const id of ["upload-error", "upload-error-sent"]) byId(id).textContent = "";
    if (stage === "sent") byId("upload-show").disabled = true;
  }

  #reset() {
    this.steps?.close();
    this.steps = null;
    this.form.reset();
    this.#chosen();
    this.#stage("asking");
    byId("upload-title").focus();
  }
}
