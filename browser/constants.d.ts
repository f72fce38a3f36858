/**
 * The constants of WebGPU that TypeScript's DOM library leaves out; it has the interfaces. For
 * `browser/check.json` only.
 *
 * @module
 */

/** Bits of `GPUBufferDescriptor.usage`. */
declare const GPUBufferUsage: {
  readonly MAP_READ: number;
  readonly MAP_WRITE: number;
  readonly COPY_SRC: number;
  readonly COPY_DST: number;
  readonly UNIFORM: number;
  readonly STORAGE: number;
  readonly QUERY_RESOLVE: number;
};
/** Bits that `GPUBuffer.mapAsync` takes. */
declare const GPUMapMode: { readonly READ: number; readonly WRITE: number };
/** Bits of `GPUBindGroupLayoutEntry.visibility`. */
declare const GPUShaderStage: { readonly COMPUTE: number };
