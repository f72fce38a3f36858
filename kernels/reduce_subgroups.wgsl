// The functions of reduce.wgsl: subgroups first, then one number of each. Subgroups are successive
// invocations, which the backend makes sure of before it uses this file.

override WG: u32;

var<workgroup> partial: array<f32, WG>;
var<workgroup> partial4: array<vec4<f32>, WG>;
var<workgroup> result: f32;
var<workgroup> result4: vec4<f32>;

fn sumOf(value: f32, lane: u32) -> f32 {
  let size = subgroupAdd(1u);
  let mine = subgroupAdd(value);
  if (lane % size == 0u) {
    partial[lane / size] = mine;
  }
  workgroupBarrier();
  if (lane == 0u) {
    var sum = mine;
    for (var i = 1u; i < WG / size; i++) {
      sum += partial[i];
    }
    result = sum;
  }
  return workgroupUniformLoad(&result);
}

fn maxOf(value: f32, lane: u32) -> f32 {
  let size = subgroupAdd(1u);
  let mine = subgroupMax(value);
  if (lane % size == 0u) {
    partial[lane / size] = mine;
  }
  workgroupBarrier();
  if (lane == 0u) {
    var most = mine;
    for (var i = 1u; i < WG / size; i++) {
      most = max(most, partial[i]);
    }
    result = most;
  }
  return workgroupUniformLoad(&result);
}

fn sumOf4(value: vec4<f32>, lane: u32) -> vec4<f32> {
  let size = subgroupAdd(1u);
  let mine = subgroupAdd(value);
  if (lane % size == 0u) {
    partial4[lane / size] = mine;
  }
  workgroupBarrier();
  if (lane == 0u) {
    var sum = mine;
    for (var i = 1u; i < WG / size; i++) {
      sum += partial4[i];
    }
    result4 = sum;
  }
  return workgroupUniformLoad(&result4);
}
