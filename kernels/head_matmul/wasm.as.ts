// headMatmul: the kernels of expertMatmul with heads as experts. Arguments: see
// expert_matmul/wasm.ts; none are chosen, so that pairs of a token and a head take the heads in turn.

import { expertMatmulBf16, expertMatmulF16, expertMatmulF32 } from "../expert_matmul/float.as";

export function headMatmulF32(args: usize, worker: i32, workers: i32): void {
  expertMatmulF32(args, worker, workers);
}

export function headMatmulF16(args: usize, worker: i32, workers: i32): void {
  expertMatmulF16(args, worker, workers);
}

export function headMatmulBf16(args: usize, worker: i32, workers: i32): void {
  expertMatmulBf16(args, worker, workers);
}
