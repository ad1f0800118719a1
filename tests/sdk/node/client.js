"use strict";
// Everything that DaprClient offers an app without a port, over HTTP or gRPC (the argument says which).
const { CommunicationProtocolEnum, DaprClient, StateConcurrencyEnum, StateConsistencyEnum } = require("@dapr/dapr");
const { main, ports, say } = require("./report");

const protocol = process.argv[2] === "grpc" ? CommunicationProtocolEnum.GRPC : CommunicationProtocolEnum.HTTP;
const STORE = "statestore";

async function failure(call) {
  try {
    return ["no error", await call()];
  } catch (error) {
    return [error.code ?? error.constructor.name, error.rawMessage ?? JSON.parse(JSON.parse(error.message).error_msg).message];
  }
}

async function state(dapr) {
  await dapr.state.save(STORE, [{ key: "greeting", value: "hello" }, { key: "box", value: { n: 1 } }, { key: "brief", value: 1, metadata: { ttlInSeconds: "100" } }]);
  say("get", [await dapr.state.get(STORE, "greeting"), await dapr.state.get(STORE, "box"), await dapr.state.get(STORE, "nothing")]);
  say("bulk", (await dapr.state.getBulk(STORE, ["greeting", "box", "none"])).map((item) => [item.key, item.data]).sort());
  await dapr.state.transaction(STORE, [
    { operation: "upsert", request: { key: "greeting", value: "changed" } },
    { operation: "delete", request: { key: "box" } },
  ]);
  say("transaction", [await dapr.state.get(STORE, "greeting"), await dapr.state.get(STORE, "box")]);
  await dapr.state.delete(STORE, "greeting");
  say("deleted", await dapr.state.get(STORE, "greeting"));
  say("wrong etag", await failure(() => dapr.state.save(STORE, [{ key: "brief", value: 2, etag: "7", options: { concurrency: StateConcurrencyEnum.CONCURRENCY_FIRST_WRITE, consistency: StateConsistencyEnum.CONSISTENCY_STRONG } }])));
  say("no store", await failure(() => dapr.state.get("nowhere", "k")));
}

async function others(dapr) {
  say("secret", await dapr.secret.get("secrets", "mqtt"));
  say("secrets", Object.entries(await dapr.secret.getBulk("secrets")).sort());
  say("no secret", await failure(() => dapr.secret.get("secrets", "none")));
  await dapr.binding.send("files", "create", "some text!", { fileName: "note.txt" });
  const read = await dapr.binding.send("files", "get", "", { fileName: "note.txt" });
  say("read", Buffer.from(read.data ?? read).toString());
  say("bad operation", await failure(() => dapr.binding.send("files", "fly", "")));
  say("published", await dapr.pubsub.publish("pubsub", "t", { a: 1 }));
  say("event", await dapr.pubsub.publish("pubsub", "t", { specversion: "1.0", id: "7", source: "s", type: "t", data: 1 }));
  say("bulk published", await dapr.pubsub.publishBulk("pubsub", "t", ["a", { b: 1 }]));
  const refused = await dapr.pubsub.publish("nowhere", "t", 1).catch((error) => ({ error }));
  say("no pubsub", Boolean(refused.error));
  say("lock", [await dapr.lock.lock("locks", "door", "ann", 60), await dapr.lock.lock("locks", "door", "bob", 60)]);
  say("unlock", [await dapr.lock.unlock("locks", "door", "bob"), await dapr.lock.unlock("locks", "door", "ann")]);
  say("components", (await dapr.metadata.get()).components.map((one) => one.name).sort());
  say("extended", await dapr.metadata.set("place", "shed"));
  say("health", [await dapr.health.isHealthy()]);
}

async function grpcOnly(dapr) {
  say("configuration", (await dapr.configuration.get("settings", ["colour", "size"])).items);
  const changed = [];
  const stream = await dapr.configuration.subscribeWithKeys("settings", ["colour"], async (data) => changed.push(data.items));
  stream.stop();
  const plain = Buffer.from("a secret ".repeat(20000));
  const secret = await dapr.crypto.encrypt(plain, { componentName: "keys", keyName: "rsa", keyWrapAlgorithm: "RSA" });
  say("crypto", [secret.length > plain.length, (await dapr.crypto.decrypt(secret, { componentName: "keys" })).equals(plain)]);
}

main(async () => {
  const dapr = new DaprClient({ daprHost: "127.0.0.1", daprPort: protocol === CommunicationProtocolEnum.GRPC ? ports.grpc : ports.http, communicationProtocol: protocol });
  await state(dapr);
  await others(dapr);
  if (protocol === CommunicationProtocolEnum.GRPC) await grpcOnly(dapr);
  await dapr.stop();
});
