// A phone in a browser: JsSIP in a page of headless Chromium. Commands come as JSON lines on standard
// input; answers and events leave as JSON lines that begin with `@`. What the page does is in
// chromium_page.js.
//
// Usage: chromium_phone.mjs SETTINGS, a JSON file: user, password, domain, url, hertz, modules, profile,
// at, the address of the name in the URL if no name server knows it, relay (address, port) if media are to
// go through it, and peer_connection, the configuration of that.

import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const settings = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const require = createRequire(`${settings.modules}/`);
const { chromium } = require('playwright-core');
const esbuild = require('esbuild');

function tell(event, more = {}) {
  process.stdout.write(`@${JSON.stringify({ event, ...more })}\n`);
}

async function bundle() {
  const built = await esbuild.build({
    stdin: { contents: "module.exports = require('jssip');", resolveDir: settings.modules },
    bundle: true,
    write: false,
    format: 'iife',
    globalName: 'JsSIP',
    define: { global: 'window' },
    logLevel: 'error',
  });
  return built.outputFiles[0].text;
}

// A page from this machine may speak to servers on this machine.
async function serve(scripts) {
  const server = createServer((request, response) => {
    const script = scripts[request.url];
    response.setHeader('Content-Type', script ? 'text/javascript' : 'text/html');
    const names = Object.keys(scripts).map((name) => `<script src="${name}"></script>`);
    response.end(script ?? `<!DOCTYPE html><meta charset="utf-8"><body>${names.join('')}`);
  });
  await new Promise((done) => { server.listen(0, '127.0.0.1', done); });
  return `http://localhost:${server.address().port}/`;
}

const page = new URL('chromium_page.js', import.meta.url);
const address = await serve({
  '/jssip.js': await bundle(),
  '/page.js': readFileSync(page, 'utf8'),
});
const names = settings.at
  ? [`--host-resolver-rules=MAP ${new URL(settings.url).hostname} ${settings.at}`]
  : [];
const context = await chromium.launchPersistentContext(settings.profile, {
  executablePath: '/usr/bin/chromium',
  headless: true,
  ignoreHTTPSErrors: true,
  args: [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    '--ignore-certificate-errors',
    '--allow-loopback-in-peer-connection',
    '--autoplay-policy=no-user-gesture-required',
    '--use-fake-device-for-media-stream',
    '--use-fake-ui-for-media-stream',
    ...names,
  ],
});
const tab = await context.newPage();
tab.on('console', (message) => process.stdout.write(`console: ${message.text()}\n`));
tab.on('pageerror', (error) => process.stdout.write(`error in the page: ${error}\n`));
await tab.exposeFunction('tell', tell);
await tab.goto(address);
await tab.evaluate((given) => window.begin(given), {
  user: settings.user,
  password: settings.password,
  domain: settings.domain,
  url: settings.url,
  hertz: settings.hertz,
  relay: settings.relay,
  pcConfig: settings.peer_connection,
});

createInterface({ input: process.stdin }).on('line', async (line) => {
  const command = JSON.parse(line);
  const answer = { reply: command.n };
  try {
    Object.assign(answer, await tab.evaluate((given) => window.give(given), command));
  } catch (error) {
    answer.error = String(error);
  }
  process.stdout.write(`@${JSON.stringify(answer)}\n`);
}).on('close', async () => {
  await context.close();
  process.exit(0);
});
tell('ready');
