/**
 * What every op is called, and what its inputs, attributes and result are: types and documentation.
 * ops.ts has the rows.
 *
 * @module
 */

import type { ActivationAttributes } from "./activation/op.ts";
import type { AttentionAttributes } from "./attention/op.ts";
import type { DivideColumnAttributes } from "./divide_column/op.ts";
import type { EmbedAttributes } from "./embed/op.ts";
import type { ExpertMatmulAttributes } from "./expert_matmul/op.ts";
import type { ExpertWeightsAttributes } from "./expert_weights/op.ts";
import type { GluAttributes } from "./glu/op.ts";
import type { HeadMatmulAttributes } from "./head_matmul/op.ts";
import type { LayerNormAttributes } from "./layer_norm/op.ts";
import type { MatmulAttributes } from "./matmul/op.ts";
import type { NoAttributes } from "./op.ts";
import type { QuantizeActivationsAttributes } from "./quantize_activations/op.ts";
import type { RmsNormAttributes } from "./rms_norm/op.ts";
import type { RopeAttributes } from "./rope/op.ts";
import type { ScaleAttributes } from "./scale/op.ts";
import type { TopExpertsAttributes } from "./top_experts/op.ts";

/** Name of each op, with the type of its attributes. */
export interface OpAttributes {
  /**
   * One nonlinear function of every element.
   *
   * Inputs:
   * 1. `x`: f32 [...]
   *
   * Attributes: `kind`, the function: relu, reluSquared, gelu, geluTanh, geluQuick, silu,
   * sigmoid or tanh.
   *
   * Result: f32, the shape of x.
   *
   * Throws a ShapeError when the inputs do not fit together or an attribute is wrong.
   */
  readonly activation: ActivationAttributes;
  /**
   * Elementwise sum, or bias.
   *
   * Inputs:
   * 1. `a`: f32 [..., width]
   * 2. `b`: f32, the shape of a or [width]
   *
   * Attributes: none.
   *
   * Result: f32, the shape of a.
   *
   * Throws a ShapeError when the inputs do not fit together or an attribute is wrong.
   */
  readonly add: NoAttributes;
  /**
   * Attention over spans of the caches.
   *
   * Inputs:
   * 1. `q`: f32 [tokens, heads * headDim]
   * 2. `keys`: f32, f16 or int8 [rows, kvHeads, headDim]
   * 3. `values`: f32, f16 or int8 [rows, kvHeads, headDim]
   * 4. `spans`: i32 [tokens, 2]
   * 5. `bias`: f32 [heads, width] or [tokens, heads * width]; with the attribute `bias`
   * 6. `rows`: i32 [tokens]; with the attribute `bias`
   * 7. `sinks`: f32 [heads]; with the attribute `sinks`
   *
   * Attributes: `heads`, query heads; `scale`, factor of the scores; `softCap`, bound of the
   * scores, none by default; `bias`, "shared" or "perQuery", none by default; `center`, column
   * of the distance 0, the middle one by default; `sinks`, false by default.
   *
   * Result: f32 `[tokens, heads * headDim]`.
   *
   * Throws a ShapeError when the inputs do not fit together or an attribute is wrong.
   */
  readonly attention: AttentionAttributes;
  /**
   * Keys or values into their cache rows.
   *
   * Inputs:
   * 1. `cache`: f32, f16 or int8 [rows, kvHeads, headDim]
   * 2. `x`: f32 [tokens, kvHeads * headDim]
   * 3. `rows`: i32 [tokens]
   *
   * Attributes: none.
   *
   * Result: the cache itself, written in place.
   *
   * Throws a ShapeError when the inputs do not fit together or an attribute is wrong.
   */
  readonly cacheStore: NoAttributes;
  /**
   * One column of log-probabilities, divided among several.
   *
   * Inputs:
   * 1. `x`: f32 [..., width]
   * 2. `parts`: f32 [..., count], the rows of x
   *
   * Attributes: `column`, the column of x that is divided.
   *
   * Result: f32 `[..., width - 1 + count]`.
   *
   * Throws a ShapeError when the inputs do not fit together or an attribute is wrong.
   */
  readonly divideColumn: DivideColumnAttributes;
  /**
   * Table rows by index.
   *
   * Inputs:
   * 1. `ids`: i32 [tokens]
   * 2. `table`: matrix of any layout [rows, width]
   *
   * Attributes: `first`, the id of the table's first row, of a table that has a part of the ids:
   * the others give zeros; without it every id is a row.
   *
   * Result: f32 `[tokens, width]`.
   *
   * Throws a ShapeError when the inputs do not fit together or an attribute is wrong.
   */
  readonly embed: EmbedAttributes;
  /**
   * Activations times the matrices of chosen experts.
   *
   * Inputs:
   * 1. `x`: f32 or a8 [tokens, K] or [tokens, count, K]
   * 2. `weight`: matrix of any layout [experts * N, K]
   * 3. `chosen`: i32 [tokens, count]
   *
   * Attributes: `experts`, how many matrices are stacked.
   *
   * Result: f32 `[tokens, count, N]`.
   *
   * Throws a ShapeError when the inputs do not fit together or an attribute is wrong.
   */
  readonly expertMatmul: ExpertMatmulAttributes;
  /**
   * The results of a token's experts as one row.
   *
   * Inputs:
   * 1. `x`: f32 [tokens, count, width], or [tokens, width] where count is 1
   * 2. `weights`: f32 [tokens, count]
   *
   * Attributes: none.
   *
   * Result: f32 `[tokens, width]`.
   *
   * Throws a ShapeError when the inputs do not fit together or an attribute is wrong.
   */
  readonly expertSum: NoAttributes;
  /**
   * How much each chosen expert counts.
   *
   * Inputs:
   * 1. `scores`: f32 [tokens, experts]
   * 2. `chosen`: i32 [tokens, count]
   *
   * Attributes: `over`, "chosen" or "all".
   *
   * Result: f32 `[tokens, count]`.
   *
   * Throws a ShapeError when the inputs do not fit together or an attribute is wrong.
   */
  readonly expertWeights: ExpertWeightsAttributes;
  /**
   * Gated linear unit: a function of one tensor times another.
   *
   * Inputs:
   * 1. `gate`: f32 [...]
   * 2. `up`: f32, the shape of gate
   *
   * Attributes: `kind`, the function of the gate.
   *
   * Result: f32, the shape of gate.
   *
   * Throws a ShapeError when the inputs do not fit together or an attribute is wrong.
   */
  readonly glu: GluAttributes;
  /**
   * The part of a row of each head times a matrix of its own.
   *
   * Inputs:
   * 1. `x`: f32 [tokens, heads * K]
   * 2. `weight`: matrix of f32, f16 or bf16 [heads * N, K]
   *
   * Attributes: `heads`, parts of a row.
   *
   * Result: f32 `[tokens, heads * N]`.
   *
   * Throws a ShapeError when the inputs do not fit together or an attribute is wrong.
   */
  readonly headMatmul: HeadMatmulAttributes;
  /**
   * Normalization by mean and variance.
   *
   * Inputs:
   * 1. `x`: f32 [..., width]
   * 2. `weight`: f32 [width]
   * 3. `bias`: f32 [width]; may be left out
   *
   * Attributes: `eps`, added to the variance.
   *
   * Result: f32, the shape of x.
   *
   * Throws a ShapeError when the inputs do not fit together or an attribute is wrong.
   */
  readonly layerNorm: LayerNormAttributes;
  /**
   * The logarithm of the softmax of each row.
   *
   * Inputs:
   * 1. `x`: f32 [..., width]
   *
   * Attributes: none.
   *
   * Result: f32, the shape of x.
   *
   * Throws a ShapeError when the inputs do not fit together or an attribute is wrong.
   */
  readonly logSoftmax: NoAttributes;
  /**
   * Activations times a weight matrix.
   *
   * Inputs:
   * 1. `x`: f32 or a8 [..., K]
   * 2. `weight`: matrix of any layout [N, K]
   * 3. `up`: matrix of the layout of weight [N, K]; with the attribute `gate`
   * 4. `gain`: f32 [K]; with the attribute `eps`
   * 5. `residual`: f32 [..., N]; with the attribute `residual`
   * 6. `bias`: f32 [N]; may be left out
   *
   * Attributes: `gate`, kind of a `glu` of two products; `eps`, of a norm of x before;
   * `residual`, whether one is added; none of them by default.
   *
   * Result: f32 `[..., N]`.
   *
   * Throws a ShapeError when the inputs do not fit together or an attribute is wrong.
   */
  readonly matmul: MatmulAttributes;
  /**
   * Elementwise product, or gain.
   *
   * Inputs:
   * 1. `a`: f32 [..., width]
   * 2. `b`: f32, the shape of a or [width]
   *
   * Attributes: none.
   *
   * Result: f32, the shape of a.
   *
   * Throws a ShapeError when the inputs do not fit together or an attribute is wrong.
   */
  readonly mul: NoAttributes;
  /**
   * Activations to int8.
   *
   * Inputs:
   * 1. `x`: f32 [..., width]
   * 2. `gain`: f32 [width]; with the attribute `eps`
   * 3. `up`: f32, the shape of x; with the attribute `gate`
   *
   * Attributes: `eps`, of a norm before; `gate`, kind of a `glu` before; at most one, none by
   * default.
   *
   * Result: a8, the shape of x.
   *
   * Throws a ShapeError when the inputs do not fit together or an attribute is wrong.
   */
  readonly quantizeActivations: QuantizeActivationsAttributes;
  /**
   * Normalization by root mean square.
   *
   * Inputs:
   * 1. `x`: f32 [..., width]
   * 2. `weight`: f32 [width] or a divisor of it
   *
   * Attributes: `eps`, added to the mean square.
   *
   * Result: f32, the shape of x.
   *
   * Throws a ShapeError when the inputs do not fit together or an attribute is wrong.
   */
  readonly rmsNorm: RmsNormAttributes;
  /**
   * Rotary position embedding.
   *
   * Inputs:
   * 1. `x`: f32 [tokens, heads * headDim]
   * 2. `positions`: i32 [tokens]
   * 3. `table`: f32 [positions, rotaryDim]
   *
   * Attributes: `heads`; `pairing`, "half" or "interleaved"; `offset`, first element of a head
   * that rotates, 0 by default.
   *
   * Result: f32, the shape of x.
   *
   * Throws a ShapeError when the inputs do not fit together or an attribute is wrong.
   */
  readonly rope: RopeAttributes;
  /**
   * Every element times one number.
   *
   * Inputs:
   * 1. `x`: f32 [...]
   *
   * Attributes: `factor`, any finite number.
   *
   * Result: f32, the shape of x.
   *
   * Throws a ShapeError when the inputs do not fit together or an attribute is wrong.
   */
  readonly scale: ScaleAttributes;
  /**
   * Elements of every row by index, as f32: what is outside of the row stands for its nearest element.
   *
   * Inputs:
   * 1. `x`: f32 [..., width]
   * 2. `columns`: f32 [count]
   *
   * Attributes: none.
   *
   * Result: f32 `[..., count]`.
   *
   * Throws a ShapeError when the inputs do not fit together or an attribute is wrong.
   */
  readonly selectColumns: NoAttributes;
  /**
   * Rows of an activation by index.
   *
   * Inputs:
   * 1. `x`: f32 [tokens, width]
   * 2. `rows`: i32 [count]
   *
   * Attributes: none.
   *
   * Result: f32 `[count, width]`.
   *
   * Throws a ShapeError when the inputs do not fit together or an attribute is wrong.
   */
  readonly selectRows: NoAttributes;
  /**
   * Probabilities along each row.
   *
   * Inputs:
   * 1. `x`: f32 [..., width]
   *
   * Attributes: none.
   *
   * Result: f32, the shape of x.
   *
   * Throws a ShapeError when the inputs do not fit together or an attribute is wrong.
   */
  readonly softmax: NoAttributes;
  /**
   * Which experts each token gets.
   *
   * Inputs:
   * 1. `scores`: f32 [tokens, experts]
   * 2. `starts`: i32 [tokens]; with the attribute `capacity`
   *
   * Attributes: `count`, experts per token; `capacity`, most tokens of a sequence per expert,
   * none by default.
   *
   * Result: i32 `[tokens, count]`.
   *
   * Throws a ShapeError when the inputs do not fit together or an attribute is wrong.
   */
  readonly topExperts: TopExpertsAttributes;
}

/** Name of an op. */
export type OpName = keyof OpAttributes;
