/**
 * Ollama's own client for the tests of the server.
 *
 * @module
 */

export { Ollama } from "npm:ollama@0.6.4";
