// Lines of drawings: where the points of a series are.

/** How far from the upper and the lower edge a line stays, so that all of its width is seen. */
const MARGIN = 1.5;

/**
 * A series as the `d` of an SVG path, from the left edge to the right one. A null is a gap; a point alone between gaps
 * is a dot.
 * @param {(number | null)[]} values
 * @param {number} width
 * @param {number} height
 * @param {number} least what is at the lower edge
 * @param {number} most what is at the upper edge; where it equals `least`, the line is in the middle
 * @returns {string}
 */
export function line(values, width, height, least, most) {
  const step = values.length > 1 ? width / (values.length - 1) : 0;
  let path = "";
  let isPenDown = false;
  values.forEach((value, n) => {
    if (value === null) {
      isPenDown = false;
      return;
    }
    const share = most > least ? (value - least) / (most - least) : 0.5;
    const point = `${round(n * step)} ${round(height - MARGIN - share * (height - 2 * MARGIN))}`;
    // A line of no length is drawn as a dot where its ends are round.
    path += isPenDown ? `L${point}` : `M${point}L${point}`;
    isPenDown = true;
  });
  return path;
}

/**
 * The round number at or above a value: 1, 2 or 5 and zeros, at least 1.
 * @param {number} value
 * @returns {number}
 */
export function ceiling(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return power * ([1, 2, 5, 10].find((factor) => factor * power >= value) ?? 10);
}

/** @param {number} number */
function round(number) {
  return Math.round(number * 10) / 10;
}
