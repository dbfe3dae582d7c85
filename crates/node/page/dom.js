// Elements. What is put in is text: nothing that the log says is ever read as HTML, which the page's policy forbids besides.

/** An element with attributes (a function is a listener) and children (elements and text; nothing for undefined, null, false). */
export function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(attribute, value);
    else if (value !== undefined && value !== false) element.setAttribute(attribute, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

/**
 * Makes the children of `parent` what `rows` say: each a `key`, a `stamp` that changes with what is shown, and `make`. A child that is the same stays where it
 * is, with the focus that it has; one that is made anew hands its focus on.
 */
export function keep(parent, rows) {
  const there = new Map(Array.from(parent.children, (child) => [child.dataset.key, child]));
  const wanted = new Set(rows.map((row) => row.key));
  for (const [key, child] of there) if (!wanted.has(key)) child.remove();
  let at = parent.firstElementChild;
  for (const row of rows) {
    const child = there.get(row.key);
    const right = child?.dataset.stamp === row.stamp ? child : fresh(row);
    if (child && child !== right) {
      if (child === at) at = right;
      exchange(child, right);
    }
    if (right === at) at = at.nextElementSibling;
    else parent.insertBefore(right, at);
  }
}

function fresh(row) {
  const child = row.make();
  child.dataset.key = row.key;
  child.dataset.stamp = row.stamp;
  return child;
}

function exchange(child, right) {
  const focused = child.contains(document.activeElement) ? document.activeElement.getAttribute("href") : undefined;
  child.replaceWith(right);
  if (focused !== undefined) Array.from(right.querySelectorAll("a, button")).find((other) => other.getAttribute("href") === focused)?.focus();
}

/** A table whose rows are kept by {@link keep}; it scrolls by itself where it is too wide, also by the keyboard. */
export function table(caption, heads, name) {
  const body = el("tbody");
  const element = el("div", { class: "wide", role: "region", tabindex: "0", "aria-label": caption },
    el("table", { class: name }, el("caption", {}, caption), el("thead", {}, el("tr", {}, heads.map((head) => el("th", { scope: "col" }, head)))), body));
  return { element, body };
}

/** Names and what they are, in pairs; a pair whose value is undefined is left out. */
export function list(pairs) {
  return el("dl", {}, pairs.filter(([, value]) => value !== undefined).map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

/** A link to a view of this page, and to what in it. */
export const link = (view, argument, ...children) => el("a", { href: `#${view}/${encodeURI(argument)}`, title: argument }, ...children);
