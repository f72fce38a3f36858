/**
 * What the environment says about hubs and the cache: see runtime/hub/environment.ts.
 *
 * @module
 */

export { type HubOptions, hubOptionsFromEnv, type Lookup } from "../runtime/hub/environment.ts";
