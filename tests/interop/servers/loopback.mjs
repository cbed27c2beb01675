// Preloaded into a Node server that knows no host option: it then listens on loopback only.
import net from 'node:net';

const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (port, ...rest) {
  const number = typeof port === 'object' ? NaN : Number(port);
  if (Number.isNaN(number) || typeof rest[0] === 'string') return listen.call(this, port, ...rest);
  return listen.call(this, number, '127.0.0.1', ...rest);
};
