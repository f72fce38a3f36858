// Traditional to simplified Chinese, line by line, with the opencc-js package unpacked in the folder
// given first; then the input file and the output file. Run by data.py with Node.js or Deno.
import { readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import process from "node:process";

const [folder, input, output] = process.argv.slice(2);
const module = await import(pathToFileURL(`${folder}/dist/esm/t2cn.js`).href);
const convert = module.Converter({ from: "t", to: "cn" });
const lines = readFileSync(input, "utf8").split("\n");
writeFileSync(output, lines.map((line) => convert(line)).join("\n"));
