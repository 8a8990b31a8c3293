/** Looks whether what waits in the feed may still be shown, so that a video that was taken down is skipped, not met. */

import { ApiError } from "../http.js";
import { videos } from "./api.js";
import { toast } from "./toast.js";

// A takedown is gone from new pages at once; on an open one it may wait this long, still ahead of the viewer.
const LOOK_EVERY_MS = 2_500;
const ASKED = 50; // most ids the API takes at once

/** @param {import("./feed.js").Feed} feed */
export function watchForTakedowns(feed) {
  setInterval(async () => {
    if (document.hidden || !feed.current) return;
    const ids = [...new Set([feed.current, ...feed.upcoming].map((card) => card.item.video_id))].slice(0, ASKED);
    try {
      const there = new Set((await videos(ids)).videos.map((video) => video.video_id));
      for (const id of ids.filter((each) => !there.has(each))) {
        if (id === feed.current?.item.video_id) toast("This video was taken down.");
        feed.remove(id);
      }
    } catch (error) {
      if (!(error instanceof ApiError)) throw error; // the banner says what is wrong with the API
    }
  }, LOOK_EVERY_MS);
}
