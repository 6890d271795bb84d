/** Two counts of the same, one after the other, while events arrive. */
import type { Recount } from './types';

/**
 * The later count; where log and store still differ, but the store now holds at least what the log held before, the difference is
 * only what came in between: it is under way. A number that stays behind stays different.
 */
export function settled(before: Recount, after: Recount): Recount {
  const was = new Map(before.checks.map((check) => [check.name, check]));
  return {
    equal: after.equal,
    checks: after.checks.map((check) => {
      const then = was.get(check.name);
      const caughtUp = !check.equal && typeof check.from_store === 'number' && typeof then?.from_log === 'number' && check.from_store >= then.from_log && check.from_store <= Number(check.from_log);
      return caughtUp ? { ...check, in_flight: check.in_flight || true } : check;
    }),
  };
}
