"use strict";
// DaprClient calls apps behind other sidecars over HTTP and gRPC; the app's own gRPC service by dapr-app-id; bodies piece by piece.
const grpc = require("@grpc/grpc-js");
const { CommunicationProtocolEnum, DaprClient, HttpMethod } = require("@dapr/dapr");
const { main, ports, say } = require("./report");

async function failure(call) {
  try {
    return await call();
  } catch (error) {
    return [error.name, error.rawMessage ?? error.message];
  }
}

async function calls(name, port, communicationProtocol) {
  const dapr = new DaprClient({ daprHost: "127.0.0.1", daprPort: port, communicationProtocol });
  const fruit = { fruit: "plum" };
  say(`${name} GET`, await failure(() => dapr.invoker.invoke("larder", "echo/a?x=1", HttpMethod.GET)));
  for (const verb of [HttpMethod.POST, HttpMethod.PUT, HttpMethod.DELETE]) {
    say(`${name} ${verb}`, await dapr.invoker.invoke("larder", "echo/a", verb, fruit, { headers: { "x-jar": "small" } }));
  }
  say(`${name} to shed`, await dapr.invoker.invoke("shed", "echo", HttpMethod.POST, fruit));
  say(`${name} to barn`, await dapr.invoker.invoke("barn", "echo", HttpMethod.POST, fruit));
  for (const code of [404, 418]) {
    say(`${name} ${code}`, await failure(() => dapr.invoker.invoke("larder", `status/${code}`, HttpMethod.POST, fruit)));
  }
  say(`${name} unknown app`, await failure(() => dapr.invoker.invoke("nobody", "x", HttpMethod.POST, fruit)));
}

// google.protobuf.StringValue, short enough for a length of one byte
const encode = (text) => Buffer.concat([Buffer.from([10, text.length]), Buffer.from(text)]);
const decode = (data) => data.subarray(2).toString();

async function proxied() {
  const client = new grpc.Client(`127.0.0.1:${ports.grpc}`, grpc.credentials.createInsecure());
  const to = (app) => {
    const metadata = new grpc.Metadata();
    metadata.set("dapr-app-id", app);
    metadata.set("x-jar", "small");
    return metadata;
  };
  const one = (fruit, app = "loft") =>
    new Promise((done) => {
      const took = (error, value) => done(error ? [error.code, error.details] : value);
      client.makeUnaryRequest("/jars.Jars/One", encode, decode, fruit, to(app), took);
    });
  const all = (stream) =>
    new Promise((done, failed) => {
      const found = [];
      stream.on("data", (value) => found.push(value)).on("end", () => done(found)).on("error", failed);
    });
  say("proxied one", await one("plum"));
  say("proxied many", await all(client.makeServerStreamRequest("/jars.Jars/Many", encode, decode, "plum", to("loft"))));
  say(
    "proxied all",
    await new Promise((done, failed) => {
      const took = (error, value) => (error ? failed(error) : done(value));
      const stream = client.makeClientStreamRequest("/jars.Jars/All", encode, decode, to("loft"), took);
      for (const fruit of ["plum", "pear"]) stream.write(fruit);
      stream.end();
    }),
  );
  const chat = client.makeBidiStreamRequest("/jars.Jars/Chat", encode, decode, to("loft"));
  const reversed = all(chat);
  for (const fruit of ["plum", "pear"]) chat.write(fruit);
  chat.end();
  say("proxied chat", await reversed);
  say("proxied failure", await one("stone"));
  say("proxied unknown app", await one("plum", "nobody"));
}

const larder = (path, options = {}) =>
  fetch(`http://127.0.0.1:${ports.http}${path}`, { ...options, headers: { "dapr-app-id": "larder" } });

// A piece is sent only when the one before arrived at the other side: what is collected on the way would never come.
async function streamed() {
  const pieces = [];
  const decoder = new TextDecoder();
  const drip = await larder("/drip");
  for await (const piece of drip.body) {
    pieces.push(decoder.decode(piece));
    if (pieces.length < 3) await larder("/more", { method: "POST" });
  }
  say("pieces down", [drip.status, ...pieces]);
  let sent = 0;
  const body = new ReadableStream({
    async pull(controller) {
      while (Number(await (await larder("/came/node")).text()) < 70000 * sent) {}
      if (sent++ < 3) controller.enqueue(new Uint8Array(70000));
      else controller.close();
    },
  });
  say("pieces up", await (await larder("/upload/node", { method: "PUT", body, duplex: "half" })).text());
}

main(async () => {
  await calls("http", ports.http, CommunicationProtocolEnum.HTTP);
  await calls("grpc", ports.grpc, CommunicationProtocolEnum.GRPC);
  await proxied();
  await streamed();
});
