// int5k weights; ranges_k.wgsl reads them.

const WORDS = 44u; // of eight blocks
const HAS_FIFTHS = true;
const CENTER = 16u; // between the values of q
