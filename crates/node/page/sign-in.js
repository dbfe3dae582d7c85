// Turns a link into a session. The secret stands behind #, where no server and no log sees it, and is taken out of the address at once.

const secret = location.hash.slice(1);
const verdict = document.getElementById("verdict");

async function signIn() {
  verdict.textContent = "Signing in …";
  try {
    const answer = await fetch("/sign-in", { method: "POST", headers: { "content-type": "text/plain" }, body: secret });
    if (answer.ok) return location.replace("/");
    verdict.textContent = answer.status === 403
      ? "This link was used already, or is too old. Make a new one."
      : "The node could not sign you in now. Open the link again.";
  } catch {
    verdict.textContent = "The node does not answer: it may have stopped.";
  }
  verdict.className = "wrong";
}

if (secret) {
  history.replaceState(null, "", "/sign-in");
  signIn();
}
