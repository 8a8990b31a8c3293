/** Hand a video on: by the device's own sheet, else as a link on the clipboard. */

import { toast } from "./toast.js";

/** @param {import("./api.js").Item} item @returns {Promise<boolean>} whether it was handed on */
export async function share(item) {
  const url = new URL(`/?video=${encodeURIComponent(item.video_id)}`, location.href).href;
  try {
    if (navigator.share) {
      await navigator.share({ title: item.title, url });
    } else {
      await navigator.clipboard.writeText(url);
      toast("The link is on your clipboard.");
    }
    return true;
  } catch (error) {
    if (error.name !== "AbortError") toast("It could not be shared from here.");
    return false;
  }
}
