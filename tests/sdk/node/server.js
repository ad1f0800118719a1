"use strict";
// Subscribing, bindings and invocation with the JavaScript SDK's server, over HTTP or gRPC (the argument says which).
const { CommunicationProtocolEnum, DaprClient, DaprPubSubStatusEnum, DaprServer, HttpMethod } = require("@dapr/dapr");
const { main, ports, say, until } = require("./report");

const grpc = process.argv[2] === "grpc";
const protocol = grpc ? CommunicationProtocolEnum.GRPC : CommunicationProtocolEnum.HTTP;
const clientOptions = { daprHost: "127.0.0.1", daprPort: grpc ? ports.grpc : ports.http, communicationProtocol: protocol };
const events = [];
let tries = 0;
let bound = 0;

const take = (name) => async (data) => {
  events.push([name, data]);
};

async function subscribe(server) {
  await server.pubsub.subscribe("pubsub", "plain", take("plain"));
  await server.pubsub.subscribe("pubsub", "dead", take("dead"));
  await server.pubsub.subscribeWithOptions("pubsub", "unwanted", {
    deadLetterTopic: "dead",
    callback: async (data) => {
      events.push(["unwanted", data]);
      return DaprPubSubStatusEnum.DROP;
    },
  });
  await server.pubsub.subscribe("pubsub", "fickle", async (data) => {
    tries += 1;
    if (tries < 3) return DaprPubSubStatusEnum.RETRY;
    events.push(["fickle", data]);
    return DaprPubSubStatusEnum.SUCCESS;
  });
  await server.pubsub.subscribe("pubsub", "routed", take("never"), {
    default: "/other",
    rules: [{ match: `event.data.size > 10`, path: "/big" }],
  });
  server.pubsub.subscribeToRoute("pubsub", "routed", "/big", take("big"));
  server.pubsub.subscribeToRoute("pubsub", "routed", "/other", take("other"));
  if (!grpc) await server.pubsub.subscribeBulk("pubsub", "bulky", take("bulky"), { maxMessagesCount: 10, maxAwaitDurationMs: 50 });
}

async function arrived(step, count) {
  await until(() => events.length >= count);
  say(step, events.splice(0).map((one) => JSON.stringify(one)).sort());
}

main(async () => {
  const server = new DaprServer({ serverHost: "127.0.0.1", serverPort: ports.app, communicationProtocol: protocol, clientOptions });
  await subscribe(server);
  await server.binding.receive("ticker", async () => {
    bound += 1;
  });
  await server.invoker.listen("echo", async (data) => ({ body: data.body, query: data.query ?? "" }), { method: HttpMethod.POST });
  await server.start();
  const dapr = new DaprClient(clientOptions);
  while ((await (await fetch(`http://127.0.0.1:${ports.http}/v1.0/metadata`)).json()).subscriptions === undefined) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  for (let n = 0; n < 5; n++) await dapr.pubsub.publish("pubsub", "plain", { n });
  await arrived("plain", 5);
  await dapr.pubsub.publish("pubsub", "fickle", "f");
  await dapr.pubsub.publish("pubsub", "unwanted", "u");
  await arrived("again and dead", 3);
  say("tries", tries);
  await dapr.pubsub.publish("pubsub", "routed", { size: 20 });
  await dapr.pubsub.publish("pubsub", "routed", { size: 2 });
  await arrived("routed", 4);
  if (!grpc) {
    await dapr.pubsub.publishBulk("pubsub", "bulky", [{ a: 1 }, { a: 2 }, { a: 3 }]);
    await arrived("bulk", 3);
  }
  say("invoked", await dapr.invoker.invoke("sdk", "echo", HttpMethod.POST, { hello: 1 }));
  await until(() => bound >= 1);
  say("bound", true);
});
