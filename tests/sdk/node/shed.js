"use strict";
// An app with the JavaScript SDK's server over HTTP that is only called.
const { CommunicationProtocolEnum, DaprServer, HttpMethod } = require("@dapr/dapr");
const { ports } = require("./report");

const clientOptions = { daprHost: "127.0.0.1", daprPort: ports.http };
const server = new DaprServer({
  serverHost: "127.0.0.1",
  serverPort: ports.app,
  communicationProtocol: CommunicationProtocolEnum.HTTP,
  clientOptions,
});
const said = (verb) => async (data) => ["shed", verb, data.query, data.body ?? ""];

(async () => {
  for (const verb of [HttpMethod.GET, HttpMethod.POST, HttpMethod.PUT, HttpMethod.DELETE]) {
    await server.invoker.listen("echo", said(verb), { method: verb });
  }
  await server.start();
})();
