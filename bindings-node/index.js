'use strict'

const { Gateway } = require('./lib/gateway.js')
const { GatewayError, ToolError } = require('./lib/error.js')
const { createHandlers, nodeHandler } = require('./lib/http.js')
const { perLink } = require('./lib/inprocess.js')
const { sharedGateway } = require('./lib/singleton.js')

module.exports = { Gateway, GatewayError, ToolError, createHandlers, nodeHandler, perLink, sharedGateway }
