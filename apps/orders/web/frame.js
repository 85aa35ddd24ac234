// Drawing once per frame, however many events arrive within it.

/**
 * @param {() => void} draw
 * @returns {() => void} asks for `draw` in the next frame; a second wish before that changes nothing
 */
export function oncePerFrame(draw) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      draw();
    });
  };
}
