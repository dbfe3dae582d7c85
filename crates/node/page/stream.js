// The log as it grows: server-sent events, gone on with where they broke off.

import { SignedOut, names } from "./node.js";

const PAUSE_MIN_MS = 500;
const PAUSE_MAX_MS = 15_000;

/**
 * Reads entries from an index on until this browser is signed out. `onState` is told: `live`, `lost` (the node does not answer; it is tried again), `signed-out`.
 */
export function follow(from, onEntry, onState) {
  let next = from;
  let pause = PAUSE_MIN_MS;

  function open() {
    const source = new EventSource(`/log/stream?from=${next}`);
    source.addEventListener("open", () => onState("live"));
    source.addEventListener("entry", (event) => {
      const entry = JSON.parse(event.data);
      if (entry.index !== next) return retry(source);
      next += 1;
      pause = PAUSE_MIN_MS;
      onEntry(entry);
    });
    source.addEventListener("error", () => retry(source));
  }

  // An event source does not say why it ended: another question does.
  async function retry(source) {
    source.close();
    try {
      await names();
    } catch (error) {
      if (error instanceof SignedOut) return onState("signed-out");
      onState("lost");
    }
    setTimeout(open, pause);
    pause = Math.min(pause * 2, PAUSE_MAX_MS);
  }

  open();
}
