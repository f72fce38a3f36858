/**
 * What a pickle of torch may name: storages of numbers, tensors in them, parameters, and dictionaries
 * that keep their order. Whatever else it names does not exist here.
 *
 * @module
 */

import { quote } from "../../escape.ts";
import { PickledObject, type PickleGlobal } from "./pickle_machine.ts";

/** Numbers of one type in a row, to which tensors refer. */
export interface Storage {
  /** Its name in the checkpoint. */
  readonly key: string;
  /** Element type, as `TensorEntry` has it. */
  readonly type: string;
  /** Bytes of an element. */
  readonly elementBytes: number;
  /** Elements. */
  readonly count: number;
  /** Bytes of all of them. */
  readonly bytes: number;
}

/** A part of a storage, from which a tensor begins to count. */
class StoragePart {
  constructor(readonly storage: Storage, readonly first: number, readonly count: number) {}
}

/** A tensor: how its elements lie in a storage. */
export class TorchTensor {
  constructor(
    readonly storage: Storage,
    /** The element of the storage that is its first. */
    readonly first: number,
    readonly shape: readonly number[],
    /** Elements from one to the next along each extent. */
    readonly strides: readonly number[],
    /** How many elements it has. */
    readonly elements: number,
  ) {}
}

type Fail = (found: string) => never;

/** Types of storages, as torch names them. */
const STORAGES: Readonly<Record<string, readonly [type: string, bytes: number]>> = {
  "torch.FloatStorage": ["F32", 4],
  "torch.DoubleStorage": ["F64", 8],
  "torch.HalfStorage": ["F16", 2],
  "torch.BFloat16Storage": ["BF16", 2],
  "torch.LongStorage": ["I64", 8],
  "torch.IntStorage": ["I32", 4],
  "torch.ShortStorage": ["I16", 2],
  "torch.CharStorage": ["I8", 1],
  "torch.ByteStorage": ["U8", 1],
  "torch.BoolStorage": ["BOOL", 1],
};

/** Extents that torch gives a tensor at most. */
const MOST_EXTENTS = 64;
/** Bytes that a storage has at most. */
const MOST_BYTES = 2 ** 43;
/** Keys under which training scripts keep the tensors among other things. */
const INSIDE = ["state_dict", "model_state_dict", "model", "module", "state"];

/** Numbers that have names in the settings of MT-DNN's programs; the numbers stand for them. */
const NAMED_NUMBERS: ReadonlySet<string> = new Set([
  ...["data_utils.task_def.TaskType", "data_utils.task_def.DataFormat"],
  ...["data_utils.task_def.EncoderModelType", "data_utils.metrics.Metric"],
  "mt_dnn.loss.LossCriterion",
]);

/** What a pickle may refer to under a name; undefined for everything that is not data. */
export function globalNamed(name: string, fail: Fail): PickleGlobal | undefined {
  if (Object.hasOwn(STORAGES, name)) return { name };
  if (NAMED_NUMBERS.has(name)) {
    return {
      name,
      call: ([value]) => isCount(value) ? value : fail(`${name} is made of ${quote(value)}`),
    };
  }
  switch (name) {
    // MT-DNN's settings of a task are a dictionary, of whose labels nothing is read.
    case "experiments.exp_def.TaskDef":
      return { name, make: () => new Map() };
    case "data_utils.vocab.Vocabulary":
      return { name, make: () => new PickledObject() };
    case "collections.OrderedDict":
      return { name, call: (args) => orderedDict(args, fail) };
    case "torch._utils._rebuild_tensor":
      return { name, call: (args) => tensorOf(args, fail) };
    case "torch._utils._rebuild_tensor_v2":
      return { name, call: (args) => tensorOf(args, fail) };
    case "torch._utils._rebuild_parameter":
      return {
        name,
        call: ([data]) => data instanceof TorchTensor ? data : fail("a parameter is no tensor"),
      };
  }
  return undefined;
}

/** An empty one, or, as Python 2 writes it, one of a list of pairs. */
export function orderedDict(args: readonly unknown[], fail: Fail): Map<unknown, unknown> {
  const [pairs = []] = args;
  const isPair = (it: unknown): it is [unknown, unknown] =>
    Array.isArray(it) && it.length === 2 && typeof it[0] === "string";
  if (args.length > 1 || !Array.isArray(pairs) || !pairs.every(isPair)) {
    return fail("an OrderedDict is made of something else than pairs of a name and a value");
  }
  return new Map(pairs);
}

/**
 * The storage that a pickle means by `("storage", TYPE, KEY, DEVICE, ELEMENTS)`, or a part of it, which
 * the older form may add as `(KEY, FIRST, ELEMENTS)`; it is also entered into `storages`.
 */
export function storageOf(id: unknown, storages: Map<string, Storage>, fail: Fail): StoragePart {
  if (!Array.isArray(id) || id.length < 5 || id[0] !== "storage") {
    return fail(`it refers to ${quote(id)} outside of its pickle, expected a storage`);
  }
  const [, kind, key, , count, part] = id;
  const name = (kind as PickleGlobal | null)?.name;
  if (typeof name !== "string" || !Object.hasOwn(STORAGES, name) || typeof key !== "string") {
    return fail(`it refers to a storage of type ${quote(name)} under ${quote(key)}`);
  }
  const [type, elementBytes] = STORAGES[name]!;
  const what = `storage ${quote(key)}`;
  if (!isCount(count) || count * elementBytes > MOST_BYTES) {
    return fail(`${what} has ${quote(count)} elements, expected a number that a file can have`);
  }
  const known = storages.get(key);
  if (known && (known.type !== type || known.count !== count)) {
    return fail(
      `${what} has ${count} elements of ${type}, and elsewhere ${known.count} of ${known.type}`,
    );
  }
  const storage = known ?? { key, type, elementBytes, count, bytes: count * elementBytes };
  storages.set(key, storage);
  if (part === undefined || part === null) return new StoragePart(storage, 0, count);
  const [, first, length] = Array.isArray(part) ? part : [];
  if (!isCount(first) || !isCount(length) || first + length > count) {
    return fail(`a part of ${what}, ${quote(part)}, leaves its ${count} elements`);
  }
  return new StoragePart(storage, first, length);
}

/** `(storage, first, extents, strides, …)`; what follows is of training. */
function tensorOf(args: readonly unknown[], fail: Fail): TorchTensor {
  const [part, first, shape, strides] = args;
  if (!(part instanceof StoragePart)) return fail("a tensor has no storage");
  const { storage, first: begin, count } = part;
  const what = `a tensor in storage ${quote(storage.key)}`;
  if (!isCounts(shape) || !isCounts(strides) || shape.length !== strides.length) {
    return fail(`${what} has extents ${quote(shape)} and strides ${quote(strides)}`);
  }
  if (!isCount(first) || shape.length > MOST_EXTENTS) {
    return fail(`${what} begins at ${quote(first)} and has ${shape.length} extents`);
  }
  const elements = shape.includes(0) ? 0 : shape.reduce((product, extent) => product * extent, 1);
  const last = shape.reduce((sum, extent, i) => sum + (extent - 1) * strides[i]!, first);
  if (elements > 0 && last >= count) {
    return fail(
      `${what}, of extents [${shape}] and strides [${strides}] from ${first}, leaves its ` +
        `${count} elements`,
    );
  }
  if (elements > count) {
    return fail(`${what} has ${elements} elements, more than the ${count} that are there`);
  }
  return new TorchTensor(storage, begin + first, shape, strides, elements);
}

/** The tensors of a checkpoint by name: its own, or those of a dictionary in it. */
export function* stateTensors(
  state: unknown,
  fail: Fail,
): Iterable<readonly [name: string, tensor: TorchTensor]> {
  let dict = state;
  for (let depth = 0; depth <= INSIDE.length; depth++) {
    if (!(dict instanceof Map)) return fail("it holds no dictionary of tensors");
    const found = dict as ReadonlyMap<unknown, unknown>;
    const tensors = Array.from(found).filter(([, it]) => it instanceof TorchTensor);
    if (tensors.length > 0) {
      for (const [name, tensor] of tensors) yield [String(name), tensor as TorchTensor];
      return;
    }
    const inside = INSIDE.find((key) => found.get(key) instanceof Map);
    if (inside === undefined) return fail("its dictionary holds no tensors");
    dict = found.get(inside);
  }
  return fail("its dictionaries hold no tensors");
}

/** Settings that a training script has put beside the tensors: what `config` says by name. */
export function savedSettings(state: unknown): Record<string, unknown> | undefined {
  const config = state instanceof Map
    ? (state as ReadonlyMap<unknown, unknown>).get("config")
    : null;
  if (!(config instanceof Map)) return undefined;
  const entries = Array.from(config as ReadonlyMap<unknown, unknown>);
  return Object.fromEntries(entries.filter(([name]) => typeof name === "string"));
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && value as number >= 0;
}

function isCounts(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.every(isCount);
}
