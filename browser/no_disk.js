/**
 * In place of runtime/hub/resolve.ts, which keeps downloads on a disk: a page has none, and never asks.
 *
 * @module
 */

export {};
