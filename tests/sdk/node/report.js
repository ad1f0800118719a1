"use strict";
// What every program shares: a JSON line per step, and an end that the process does not outlive.

function say(step, saw) {
  process.stdout.write(JSON.stringify({ step, saw: saw === undefined ? null : saw }) + "\n");
}

// Runs a program; servers and timers that the SDK leaves behind end with it.
function main(program) {
  setTimeout(() => process.exit(3), 60000).unref();
  program().then(
    () => process.exit(0),
    (error) => {
      console.error(error);
      process.exit(1);
    },
  );
}

async function until(condition) {
  while (!condition()) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

// Ports of this run, as the SDK's options want them.
const ports = { app: process.env.APP_PORT, http: process.env.DAPR_HTTP_PORT, grpc: process.env.DAPR_GRPC_PORT };

module.exports = { say, main, until, ports };
