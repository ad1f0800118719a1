"""HTTP/1.1 on llhttp: the server of the API and the client that calls the app. RFC 9110, RFC 9112; manners of Go's net/http."""
