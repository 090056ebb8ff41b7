"""Bytes in and out: HTTP/1.1 server and client on asyncio.Protocol and httptools. Knows no policy."""
