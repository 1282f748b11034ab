// Node's http.Agent with keepAlive: refused and good calls in turn. Arguments: the gateway's address and a key.
const http = require('node:http');

const [, , gateway, key] = process.argv;
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

function post(path, headers, body) {
  return new Promise((resolve) => {
    const failed = (error) => {
      console.error(body.length, path, String(error));
      resolve(0);
    };
    const options = { method: 'POST', agent, headers: { 'Content-Length': body.length, ...headers } };
    const request = http.request(gateway + path, options, (answer) => {
      answer.on('error', failed);
      answer.on('end', () => resolve(answer.statusCode));
      answer.resume();
    });
    request.on('error', failed);
    // The head goes first, as it does with most clients.
    request.flushHeaders();
    request.end(body);
  });
}

(async () => {
  for (const size of [10, 300, 10000, 100000]) {
    const body = Buffer.alloc(size, 'x');
    let refused = 0;
    let good = 0;
    for (let turn = 0; turn < 20; turn += 1) {
      const status = turn % 2
        ? await post('/nowhere', { 'X-Api-Key': key }, body)
        : await post('/stub', {}, body);
      refused += status === (turn % 2 ? 404 : 401);
      good += await post('/stub', { 'X-Api-Key': key }, body) === 200;
    }
    console.log(`${size} refused ${refused} good ${good}`);
  }
  agent.destroy();
})();
