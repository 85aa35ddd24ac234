// Many wishes, few runs: the first wish runs at once, all that follow within the interval share one
// run at its end. Runs never overlap, and a wish made during a run is never lost.

/**
 * @param {() => Promise<unknown>} run must not reject
 * @param {number} intervalMs the least time from one start to the next
 * @returns {() => void} asks for a run
 */
export function coalesce(run, intervalMs) {
  let busy = false;
  let wanted = false;

  async function loop() {
    busy = true;
    while (wanted) {
      wanted = false;
      await Promise.all([run(), pause(intervalMs)]);
    }
    busy = false;
  }

  return () => {
    wanted = true;
    if (!busy) void loop();
  };
}

/** @param {number} ms */
function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
