// Decodes HEP packets, one a line in hexadecimal digits, and prints what hep-js makes of each.
const fs = require("node:fs");
const { createRequire } = require("node:module");

const [folder, file] = process.argv.slice(2);
const hep = createRequire(folder + "/")("hep-js");
for (const line of fs.readFileSync(file, "utf8").split("\n")) {
  const { rcinfo, payload } = hep.decapsulate(Buffer.from(line, "hex"));
  console.log(JSON.stringify({ rcinfo, payload: payload.toString() }));
}
