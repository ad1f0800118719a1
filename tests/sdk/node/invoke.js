"use strict";
// DaprClient calls apps behind another sidecar, over HTTP.
const { DaprClient, HttpMethod } = require("@dapr/dapr");
const { main, ports, say } = require("./report");

main(async () => {
  const dapr = new DaprClient({ daprHost: "127.0.0.1", daprPort: ports.http });
  say("post", await dapr.invoker.invoke("cellar", "json", HttpMethod.POST, { fruit: "plum" }));
  say("get", await dapr.invoker.invoke("cellar", "json?x=1", HttpMethod.GET));
});
