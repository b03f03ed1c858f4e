// Package web lets people and programs talk to a running agent: over a unix socket (status,
// sync, suspend, resume), and over HTTP (metrics, health, webhook, and a page that shows the status). Each connection, request and reader has a bound in number, size and time.
//
// Nothing that comes in decides what is applied. It wakes laps, and lets root suspend them.
package web
