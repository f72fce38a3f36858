/**
 * Cutting a text where its script changes (the `UnicodeScripts` pre-tokenizer), as the original does it: kana
 * count as Han, spaces belong to what is on their left, and spaces at the start are left out.
 *
 * @module
 */

// The scripts that the original knows; characters of later ones do not cut.
const SCRIPTS = (
  "Common Latin Han Cyrillic Arabic Devanagari Hangul Hiragana Katakana Greek Hebrew Thai Inherited " +
  "Adlam Ahom Anatolian_Hieroglyphs Armenian Avestan Balinese Bamum Bassa_Vah Batak Bengali " +
  "Bhaiksuki Bopomofo Brahmi Braille Buginese Buhid Canadian_Aboriginal Carian Caucasian_Albanian " +
  "Chakma Cham Cherokee Coptic Cuneiform Cypriot Deseret Duployan Egyptian_Hieroglyphs Elbasan " +
  "Ethiopic Georgian Glagolitic Gothic Grantha Gujarati Gurmukhi Hanunoo Hatran Imperial_Aramaic " +
  "Inscriptional_Pahlavi Inscriptional_Parthian Javanese Kaithi Kannada Kayah_Li Kharoshthi Khmer " +
  "Khojki Khudawadi Lao Lepcha Limbu Linear_A Linear_B Lisu Lycian Lydian Mahajani Malayalam Mandaic " +
  "Manichaean Marchen Meetei_Mayek Mende_Kikakui Meroitic_Cursive Meroitic_Hieroglyphs Miao Modi " +
  "Mongolian Mro Multani Myanmar Nabataean New_Tai_Lue Newa Nko Ogham Ol_Chiki Old_Hungarian " +
  "Old_Italic Old_North_Arabian Old_Permic Old_Persian Old_South_Arabian Old_Turkic Oriya Osage " +
  "Osmanya Pahawh_Hmong Palmyrene Pau_Cin_Hau Phags_Pa Phoenician Psalter_Pahlavi Rejang Runic " +
  "Samaritan Saurashtra Sharada Shavian Siddham SignWriting Sinhala Sora_Sompeng Sundanese " +
  "Syloti_Nagri Syriac Tagalog Tagbanwa Tai_Le Tai_Tham Tai_Viet Takri Tamil Tangut Telugu Thaana " +
  "Tibetan Tifinagh Tirhuta Ugaritic Vai Warang_Citi Yi"
).split(" ");

const ANY = "";
const KANA = new Set(["Hiragana", "Katakana"]);
let tests: readonly (readonly [string, RegExp])[] | undefined;
const known = new Map<number, string>();

/** The script of a code point; empty where it is none that cuts. */
function scriptOf(code: number): string {
  if (code === 0x20) return ANY;
  if (code === 0x30fc) return "Han"; // the mark of long vowels
  let script = known.get(code);
  if (script === undefined) {
    tests ??= SCRIPTS.map((name) => [name, new RegExp(`\\p{Script=${name}}`, "u")] as const);
    const character = String.fromCodePoint(code);
    const found = tests.find(([, test]) => test.test(character))?.[0] ?? ANY;
    script = KANA.has(found) ? "Han" : found;
    known.set(code, script);
  }
  return script;
}

/** The parts of a text that are of one script each. */
export function splitScripts(text: string): string[] {
  const parts: string[] = [];
  let start = 0, last: string | undefined;
  for (let at = 0; at < text.length;) {
    const code = text.codePointAt(at)!;
    const script = scriptOf(code);
    if (script !== ANY && script !== last) {
      // What stands before the first character with a script is left out, and leaves its mark.
      if (last !== undefined) parts.push(text.slice(start, at));
      else if (at > 0) parts.push("");
      start = at;
    }
    if (script !== ANY) last = script;
    at += code > 0xffff ? 2 : 1;
  }
  if (last !== undefined) parts.push(text.slice(start));
  return parts;
}
