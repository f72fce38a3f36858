// Sums and maxima over the invocations of a workgroup of WG, a power of two. Each call is made by
// all of them; all get the result, which control flow may depend on. (reduce_subgroups.wgsl does the
// same with subgroups.)

override WG: u32;

var<workgroup> partial: array<f32, WG>;
var<workgroup> partial4: array<vec4<f32>, WG>;

fn sumOf(value: f32, lane: u32) -> f32 {
  workgroupBarrier(); // the last call's result has been read
  partial[lane] = value;
  workgroupBarrier();
  for (var step = WG / 2u; step > 0u; step /= 2u) {
    if (lane < step) {
      partial[lane] += partial[lane + step];
    }
    workgroupBarrier();
  }
  return workgroupUniformLoad(&partial[0]);
}

fn maxOf(value: f32, lane: u32) -> f32 {
  workgroupBarrier();
  partial[lane] = value;
  workgroupBarrier();
  for (var step = WG / 2u; step > 0u; step /= 2u) {
    if (lane < step) {
      partial[lane] = max(partial[lane], partial[lane + step]);
    }
    workgroupBarrier();
  }
  return workgroupUniformLoad(&partial[0]);
}

fn sumOf4(value: vec4<f32>, lane: u32) -> vec4<f32> {
  workgroupBarrier();
  partial4[lane] = value;
  workgroupBarrier();
  for (var step = WG / 2u; step > 0u; step /= 2u) {
    if (lane < step) {
      partial4[lane] += partial4[lane + step];
    }
    workgroupBarrier();
  }
  return workgroupUniformLoad(&partial4[0]);
}
