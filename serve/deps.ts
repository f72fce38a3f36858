/**
 * The libraries that the server is made with: Hono for routes and what every server needs before them,
 * Zod for what a request may say, prom-client for what Prometheus reads. Nothing else in `serve` names
 * a package.
 *
 * @module
 */

export { type Context, Hono, type MiddlewareHandler } from "npm:hono@4.13.19";
export { bodyLimit } from "npm:hono@4.13.19/body-limit";
export { cors } from "npm:hono@4.13.19/cors";
export { z } from "npm:zod@4.6.7";
export { Counter, Gauge, Histogram, Registry } from "npm:prom-client@15.1.3";
export { createHash, timingSafeEqual } from "node:crypto";
