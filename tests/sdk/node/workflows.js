"use strict";
// Workflows with the JavaScript SDK: the patterns that its users write.
const { DaprWorkflowClient, WorkflowRuntime } = require("@dapr/dapr");
const { main, ports, say } = require("./report");

const undone = [];
const addOne = async (_, number) => number + 1;
const book = async (_, what) => {
  if (what === "car") throw new Error("no car left");
  return what;
};
const cancel = async (_, what) => {
  undone.push(what);
};

const chain = async function* chain(ctx, number) {
  for (let i = 0; i < 5; i++) number = yield ctx.callActivity(addOne, number);
  return number;
};
const fan = async function* fan(ctx) {
  const results = yield ctx.whenAll([...Array(100).keys()].map((n) => ctx.callActivity(addOne, n + 1)));
  return results.reduce((a, b) => a + b, 0);
};
const approval = async function* approval(ctx, seconds) {
  const said = ctx.waitForExternalEvent("decision");
  const first = yield ctx.whenAny([said, ctx.createTimer(seconds)]);
  return first === said ? said.getResult() : "too late";
};
const saga = async function* saga(ctx) {
  const done = [];
  try {
    for (const what of ["flight", "hotel", "car"]) {
      yield ctx.callActivity(book, what);
      done.push(what);
    }
  } catch (error) {
    for (const what of done.reverse()) yield ctx.callActivity(cancel, what);
    return "undone";
  }
  return "booked";
};
const parent = async function* parent(ctx) {
  return yield ctx.callChildWorkflow(chain, 10);
};
const ticks = { left: 20 };
const count = async () => --ticks.left;
const monitor = async function* monitor(ctx) {
  const left = yield ctx.callActivity(count);
  if (left <= 0) return "healthy";
  yield ctx.createTimer(0.005);
  ctx.continueAsNew(null, false);
};

main(async () => {
  const options = { daprHost: "127.0.0.1", daprPort: ports.grpc };
  const client = new DaprWorkflowClient(options);
  const runtime = new WorkflowRuntime(options);
  for (const one of [chain, fan, approval, saga, parent, monitor]) runtime.registerWorkflow(one);
  for (const one of [addOne, book, cancel, count]) runtime.registerActivity(one);
  await runtime.start();
  const outcome = async (id) => {
    const state = await client.waitForWorkflowCompletion(id, true, 60);
    return [state.runtimeStatus, state.serializedOutput];
  };
  const ran = async (workflow, input) => outcome(await client.scheduleNewWorkflow(workflow, input));

  say("chain", await ran(chain, 1));
  say("fan", await ran(fan));
  say("monitor", await ran(monitor));
  say("timeout", await ran(approval, 0.1));
  const waiting = await client.scheduleNewWorkflow(approval, 60);
  await client.raiseEvent(waiting, "decision", "yes");
  say("approved", await outcome(waiting));
  say("saga", [...(await ran(saga)), undone]);
  say("child", await ran(parent));

  const life = await client.scheduleNewWorkflow(approval, 60, "life");
  await client.waitForWorkflowStart(life, false, 30);
  await client.suspendWorkflow(life);
  say("paused", (await client.getWorkflowState(life, false)).runtimeStatus);
  await client.resumeWorkflow(life);
  await client.terminateWorkflow(life, "enough");
  say("terminated", await outcome(life));
  say("purged", await client.purgeWorkflow(life));
  await runtime.stop();
});
