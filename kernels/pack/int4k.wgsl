// int4k weights; ranges_k.wgsl reads them.

const WORDS = 36u; // of eight blocks
const HAS_FIFTHS = false;
const CENTER = 8u; // between the values of q
