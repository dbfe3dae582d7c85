// The demo whose node is watched, as a child process: `nuncio demo travel --watch`.

import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const PATIENCE_MS = 120_000;
const program = process.env.NUNCIO ?? new URL("../../../target/debug/nuncio", import.meta.url).pathname;

export class Demo {
  #child;
  #folder;
  #said = [];

  /** Starts it; `link` is what it prints. */
  static async start() {
    const demo = new Demo();
    demo.#folder = mkdtempSync(join(tmpdir(), "nuncio-page-"));
    demo.#child = spawn(program, ["demo", "travel", "--watch"], { stdio: ["pipe", "ignore", "pipe"], env: { ...process.env, TMPDIR: demo.#folder } });
    createInterface({ input: demo.#child.stderr }).on("line", (line) => demo.#said.push(line));
    demo.link = (await demo.says(/^Open (http:\S+)$/))[1];
    demo.base = new URL(demo.link).origin;
    return demo;
  }

  /** Waits until it says something. */
  async says(pattern) {
    const until = Date.now() + PATIENCE_MS;
    while (Date.now() < until) {
      const match = this.#said.map((line) => pattern.exec(line)).find(Boolean);
      if (match) return match;
      if (this.#child.exitCode !== null) break;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error(`the demo does not say ${pattern}: ${this.#said.join(" | ")}`);
  }

  enter() {
    this.#child.stdin.write("\n");
  }

  /** Runs a command as the owner of its node. */
  asOwner(...words) {
    const [home] = readdirSync(this.#folder).filter((name) => name.startsWith("nuncio-demo-"));
    return execFileSync(program, ["--home", join(this.#folder, home, "node"), "node", ...words], { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  }

  async stop() {
    if (this.#child.exitCode === null) {
      this.#child.stdin.end();
      await Promise.race([once(this.#child, "exit"), new Promise((resolve) => setTimeout(resolve, PATIENCE_MS).unref())]);
    }
    if (this.#child.exitCode === null) this.#child.kill("SIGKILL");
    rmSync(this.#folder, { recursive: true, force: true });
    return this.#child.exitCode;
  }
}
