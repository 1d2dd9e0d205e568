// The WebSocket: it comes back by itself, and says when it was lost.

const firstWaitMs = 500;
const maxWaitMs = 5000;
const silenceMs = 5000; // without an update, the connection is taken for lost
const refusedWaitMs = 10_000; // where a token is wanted: somebody may change that without telling this page

let token = ""; // of whoever signed in; in memory only

export const setToken = (value) => (token = value);
export const headers = () => (token ? { Authorization: "Bearer " + token } : {});

const base64url = (text) =>
  btoa(String.fromCharCode(...new TextEncoder().encode(text))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

function address() {
  const url = new URL("monitoring/stream", document.baseURI);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url;
}

// connect keeps a connection. on has open(), message(event, data), closed(health), which is how the server says that it is where it
// answers all the same, and refused(), called where a token is wanted, again whenever that is found anew.
export function connect(on) {
  let socket = null;
  let wait = firstWaitMs;
  let timer = 0;
  let heard = 0;
  const asked = new Map(); // event -> how often to ask, ms
  const clocks = [];

  function send(event) {
    if (socket && socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ event }));
  }

  function open() {
    clearTimeout(timer);
    const mine = new WebSocket(address(), token ? ["flashsale", "flashsale.bearer." + base64url(token)] : ["flashsale"]);
    let opened = false;
    socket = mine;
    mine.onopen = () => {
      opened = true;
      wait = firstWaitMs;
      heard = Date.now();
      send("subscribe-metrics");
      for (const [event, every] of asked) {
        send(event);
        clocks.push(setInterval(send, every, event));
      }
      clocks.push(setInterval(() => Date.now() - heard > silenceMs && lost(), 1000));
      on.open();
    };
    mine.onmessage = ({ data }) => {
      heard = Date.now();
      const message = JSON.parse(data);
      on.message(message.event, message.data);
    };
    // A browser waits a minute for the other side's goodbye before it says that a connection is closed.
    const lost = async () => {
      if (socket !== mine) return;
      socket = null;
      mine.close();
      clocks.splice(0).forEach(clearInterval);
      const why = opened ? {} : await whyNot();
      if (socket !== null) return; // somebody has signed in meanwhile
      if (why.token) {
        on.refused();
        timer = setTimeout(open, refusedWaitMs);
        return;
      }
      on.closed(why.health);
      timer = setTimeout(open, wait * (0.75 + Math.random() / 2));
      wait = Math.min(maxWaitMs, wait * 2);
    };
    mine.onclose = lost;
    setTimeout(() => opened || lost(), silenceMs);
  }

  return {
    open,
    ask: (event, every) => asked.set(event, every),
    send,
    again() {
      const old = socket;
      socket = null;
      clocks.splice(0).forEach(clearInterval);
      if (old) old.close();
      wait = firstWaitMs;
      open();
    },
  };
}

// whyNot tells why a WebSocket did not begin, which browsers don't: {token} where one is wanted, {health} where the server answers
// and has no figures or no room, {} where it does not.
async function whyNot() {
  const ask = (path) => fetch(path, { headers: headers(), cache: "no-store", signal: AbortSignal.timeout(silenceMs) });
  try {
    const { status } = await ask("monitoring/metrics");
    if (status === 401 || status === 403) return { token: true };
    return { health: await (await ask("monitoring/health")).json() };
  } catch {
    return {};
  }
}
