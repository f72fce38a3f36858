/**
 * `fast-check` for the tests: random cases, and the smallest one that fails.
 *
 * @module
 */

export { default } from "npm:fast-check@4.10.2";
export * from "npm:fast-check@4.10.2";
