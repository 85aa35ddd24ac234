// Loads the third-party library that the page names in its preload links.

/** How long the library may take; then the page goes on without it. Milliseconds. */
const LIBRARY_MAX_MS = 4_000;

/**
 * @returns {Promise<boolean>} whether scripts and styles are all there
 */
export async function loadLibrary() {
  /** @type {NodeListOf<HTMLLinkElement>} */
  const links = document.querySelectorAll("link[data-library]");
  if (links.length === 0) return false;
  const loads = Promise.all([...links].map(load)).then(() => true, () => false);
  return Promise.race([loads, tooLate()]);
}

/** @param {HTMLLinkElement} link */
function load(link) {
  const element = link.as === "script" ? script(link) : style(link);
  element.crossOrigin = link.crossOrigin;
  element.integrity = link.integrity;
  return new Promise((resolve, reject) => {
    element.onload = resolve;
    element.onerror = reject;
    // The library's style comes first, so that the page's own rules win.
    document.head.prepend(element);
  });
}

/** @param {HTMLLinkElement} link */
function script(link) {
  return Object.assign(document.createElement("script"), { src: link.href });
}

/** @param {HTMLLinkElement} link */
function style(link) {
  return Object.assign(document.createElement("link"), { rel: "stylesheet", href: link.href });
}

/** @returns {Promise<boolean>} */
function tooLate() {
  return new Promise((resolve) => setTimeout(() => resolve(false), LIBRARY_MAX_MS));
}
