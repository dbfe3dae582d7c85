// The newest entries of the log, as many as the page keeps.

/** `page_entries_max` of contracts/registry.toml. */
export const KEPT = 5000;

export class Entries {
  #kept = [];
  #total = 0;

  /** The newest last. */
  get all() {
    return this.#kept;
  }

  /** Entries of the log that are known of, kept or not. */
  get total() {
    return this.#total;
  }

  /** The index from which on all are kept. */
  get first() {
    return this.#kept[0]?.index ?? this.#total;
  }

  add(entry) {
    this.#kept.push(entry);
    this.#total = entry.index + 1;
    // A few at a time: to take the first of an array away moves all.
    if (this.#kept.length > KEPT + KEPT / 10) this.#kept = this.#kept.slice(-KEPT);
  }

  at(index) {
    return this.#kept[index - this.first];
  }
}
