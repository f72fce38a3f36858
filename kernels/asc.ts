/**
 * The AssemblyScript compiler, for building kernels and for the limits of the benchmarks. The library
 * and the commands never load it.
 *
 * @module
 */

export { default } from "npm:assemblyscript@0.28.20/asc";
