// The post-link step of the Wasm filter.
//
//   node tools/link.mjs IN OUT --keep memory,proxy_on_configure,…
//
// In:  the module as rustc linked it. Out: OUT, without the exports that are not in the keep list, optimised,
// and without names. Envoy calls every proxy_on_* export that exists, for each stream and body chunk, at
// 0.15 to 0.3 µs each, whether it does something or not; so an export we don't need must not be there.
import { readFileSync, writeFileSync, renameSync, mkdirSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { gzipSync } from "node:zlib";

const fail = (message) => {
  console.error(`link.mjs: ${message}`);
  process.exit(1);
};

const args = process.argv.slice(2);
const files = [];
let keep = null;
for (let i = 0; i < args.length; i++) {
  if (args[i] === "--keep") keep = new Set((args[++i] ?? "").split(",").filter(Boolean));
  else files.push(args[i]);
}
if (files.length !== 2 || args.includes("--help")) fail("usage: link.mjs IN OUT [--keep name,name,…]");
const [input, output] = files;

const library = new URL("../.tools/binaryen/index.js", import.meta.url);
const { default: binaryen } = await import(library).catch(() => fail("binaryen is missing: run 'tools/install.sh binaryen'"));

const original = readFileSync(input);
const module = binaryen.readBinary(original);

// An explicit list: what Envoy's V8 is asked to load. With all features on, the output does not load there.
const F = binaryen.Features;
module.setFeatures(F.BulkMemory | F.BulkMemoryOpt | F.MutableGlobals | F.SignExt | F.NontrappingFPToInt |
  F.Multivalue | F.ReferenceTypes | F.CallIndirectOverlong | F.SIMD128);

const names = Array.from({ length: module.getNumExports() }, (_, i) => binaryen.getExportInfo(module.getExportByIndex(i)).name);
const dropped = keep ? names.filter((name) => !keep.has(name)) : [];
for (const name of dropped) module.removeExport(name);
const kept = names.filter((name) => !dropped.includes(name));

// Without these Envoy does not refuse the module politely: a missing memory export is a segmentation fault.
for (const one of [["memory"], ["proxy_abi_version_0_2_1"], ["proxy_on_memory_allocate", "malloc"]])
  if (!one.some((name) => kept.includes(name))) fail(`${input}: no export '${one.join("' or '")}' is left; Envoy needs it`);
const absent = [...(keep ?? [])].filter((name) => !names.includes(name));

// A panic ends in a trap either way; without the code that words it for a standard error nobody reads, the module is
// a tenth smaller. Functions are told by their names, so modules without names keep theirs.
const panics = /panicking|panic_|rust_panic|rust_begin_unwind|unwrap_failed|expect_failed|slice_error_fail|slice_index_fail|alloc_error|capacity_overflow|handle_error/;
let trapped = 0;
for (let i = 0; i < module.getNumFunctions(); i++) {
  const reference = module.getFunctionByIndex(i);
  const { name, module: from } = binaryen.getFunctionInfo(reference);
  if (from || !panics.test(name)) continue;
  binaryen.Function.setBody(reference, module.unreachable());
  trapped++;
}

binaryen.setOptimizeLevel(3);
binaryen.setShrinkLevel(2);
binaryen.setDebugInfo(false);
module.optimize();
module.optimize();
module.runPasses(["strip-debug", "strip-producers", "strip-target-features", "vacuum"]);
if (!module.validate()) fail(`${input}: the optimised module is not valid`);
const bytes = module.emitBinary();

mkdirSync(dirname(output), { recursive: true });
const temporary = `${output}.${process.pid}.tmp`;
try {
  writeFileSync(temporary, bytes);
  renameSync(temporary, output);
} catch (error) {
  rmSync(temporary, { force: true });
  throw error;
}
const kb = (n) => `${(n / 1024).toFixed(1)} KiB`;
console.log(`${output}: ${kb(original.length)} -> ${kb(bytes.length)} (${kb(gzipSync(bytes).length)} gzipped), ` +
  `${kept.length} exports kept, ${dropped.length} dropped, ${trapped} panics are traps`);
if (absent.length) console.log(`  not in the module: ${absent.join(", ")}`);
