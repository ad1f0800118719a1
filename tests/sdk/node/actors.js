"use strict";
// Actors hosted and called by the JavaScript SDK: methods, state, turns, timers, reminders, deactivation, over HTTP and over gRPC.
const { AbstractActor, ActorId, ActorProxyBuilder, CommunicationProtocolEnum, DaprClient, DaprServer, LogLevel, Temporal } = require("@dapr/dapr");
const { main, ports, say, until } = require("./report");

const seen = { ticks: [], reminders: [], gone: [], inside: 0, most: 0 };
const ms = (milliseconds) => Temporal.Duration.from({ milliseconds });

class Counter extends AbstractActor {
  async onDeactivate() {
    seen.gone.push(this.getActorId().getId());
  }
  async add(amount, note) {
    const [has, old] = await this.getStateManager().tryGetState("count");
    const count = (has ? old : 0) + amount;
    await this.getStateManager().setState("count", count);
    return { count, note };
  }
  async whoami() {
    return { id: this.getActorId().getId() };
  }
  async forget() {
    await this.getStateManager().removeState("count");
  }
  async slow() {
    seen.inside += 1;
    seen.most = Math.max(seen.most, seen.inside);
    await new Promise((resolve) => setTimeout(resolve, 20));
    seen.inside -= 1;
  }
  async fail() {
    throw new Error("no");
  }
  async startTimer() {
    await super.registerActorTimer("t", "onTick", ms(20), ms(20), undefined, "drop");
  }
  async stopTimer() {
    await super.unregisterActorTimer("t");
  }
  async onTick(state) {
    seen.ticks.push(state);
  }
  async startReminder() {
    await super.registerActorReminder("r", ms(20), ms(20), ms(500), "look");
  }
  async receiveReminder(data) {
    seen.reminders.push(data);
  }
}

class Brief extends Counter {}

async function actors() {
  const actor = { actorIdleTimeout: "2s", actorScanInterval: "50ms" };
  const logger = { level: LogLevel.Error };
  const clientOptions = { daprHost: "127.0.0.1", daprPort: ports.http, actor, logger };
  const server = new DaprServer({ serverHost: "127.0.0.1", serverPort: ports.app, clientOptions, logger });
  await server.actor.init();
  server.actor.registerActor(Counter);
  server.actor.registerActor(Brief);
  await server.start();

  const counter = new ActorProxyBuilder(Counter, server.client).build(new ActorId("one"));
  say("add", await counter.add(2, "first"));
  say("add", await counter.add(3, "second"));
  await Promise.all([1, 2, 3, 4, 5].map(() => counter.slow()));
  say("most at once", seen.most);
  say("failure", await counter.fail().catch((error) => JSON.parse(JSON.parse(error.message).error_msg).errorCode));
  await counter.startTimer();
  await until(() => seen.ticks.length >= 3);
  await counter.stopTimer();
  say("tick", seen.ticks[2]);
  await counter.startReminder();
  await until(() => seen.reminders.length >= 3);
  say("reminder", seen.reminders[2]);

  const grpc = new DaprClient({ daprHost: "127.0.0.1", daprPort: ports.grpc, communicationProtocol: CommunicationProtocolEnum.GRPC, logger });
  const remote = new ActorProxyBuilder(Counter, grpc).build(new ActorId("one"));
  say("over gRPC", await remote.whoami());
  await counter.forget();
  say("add after forget", await counter.add(1, "third"));

  await new ActorProxyBuilder(Brief, server.client).build(new ActorId("two")).add(1);
  await until(() => seen.gone.includes("two"));
  say("gone", "two");
}

main(actors);
