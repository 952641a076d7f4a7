/** Expected first, as in all our tests; node's own functions take it second. */
import strict from "node:assert/strict";

interface Assert {
  equal(expected: unknown, actual: unknown, message?: string): void;
  deepEqual(expected: unknown, actual: unknown, message?: string): void;
  notEqual(unexpected: unknown, actual: unknown): void;
  ok(value: unknown, message?: string): asserts value;
  match(pattern: RegExp, text: string | undefined, message?: string): void;
}

export const assert: Assert = {
  equal: (expected, actual, ...message) => strict.equal(actual, expected, ...(message as [string])),
  deepEqual: (expected, actual, ...message) => strict.deepEqual(actual, expected, ...(message as [string])),
  notEqual: (unexpected, actual) => strict.notEqual(actual, unexpected),
  ok: (value, ...message) => strict.ok(value, ...(message as [string])),
  match: (pattern, text, ...message) => strict.match(text ?? "", pattern, ...(message as [string])),
};
