// Elements, made and renewed. Text is only ever set as text: nothing here reads markup, so a name that looks like markup
// is shown and not run.

const SVG = "http://www.w3.org/2000/svg";
const DRAWN = new Set(["svg", "line", "rect", "circle", "path", "g"]);

/** An element: `h("p", { class: "why" }, "text", child, …)`. Children that are null, undefined or false are left out. */
export function h(tag, attributes, ...children) {
  const element = DRAWN.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    // By way of the object: the policy of the page forbids style attributes.
    if (name === "style") for (const [property, is] of Object.entries(value)) element.style.setProperty(property, is);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
  return element;
}

/** Makes `old` look like `fresh` with as few changes as possible, so that focus, selection and scrolling stay. */
export function morph(old, fresh) {
  if (old.nodeName !== fresh.nodeName || old.dataset?.key !== fresh.dataset?.key) {
    old.replaceWith(fresh);
    return fresh;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return old;
  }
  for (const { name } of [...old.attributes]) {
    // Whether a person opened it is theirs.
    if (!fresh.hasAttribute(name) && !(name === "open" && old.nodeName === "DETAILS")) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) === value) continue;
    if (name === "style") old.style.cssText = fresh.style.cssText;
    else old.setAttribute(name, value);
  }
  children(old, [...fresh.childNodes]);
  return old;
}

/** The same for what an element holds. */
export function children(parent, fresh) {
  const old = [...parent.childNodes];
  fresh.forEach((node, at) => (at < old.length ? morph(old[at], node) : parent.append(node)));
  old.slice(fresh.length).forEach((node) => node.remove());
}
