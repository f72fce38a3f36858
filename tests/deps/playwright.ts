/**
 * `playwright-core` for the tests: drives an installed Chromium.
 *
 * @module
 */

export * from "npm:playwright-core@1.65.1";
