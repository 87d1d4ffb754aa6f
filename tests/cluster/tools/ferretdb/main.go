// Command ferretdb speaks the MongoDB protocol and keeps its data in SQLite files. FerretDB's own command cannot
// be built from its Go module (a generated file is not in it); its embeddable package can, and reports no
// telemetry.
package main

import (
	"context"
	"flag"
	"log/slog"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/FerretDB/FerretDB/ferretdb"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:27017", "address to listen on")
	data := flag.String("data", "/data/db", "folder of the SQLite files")
	certificate := flag.String("tls-certificate", "", "PEM file with a certificate; with it, TLS alone is spoken")
	key := flag.String("tls-key", "", "PEM file with its key")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	listener := ferretdb.ListenerConfig{TCP: *listen}
	if *certificate != "" {
		listener = ferretdb.ListenerConfig{TLS: *listen, TLSCertFile: *certificate, TLSKeyFile: *key}
	}
	if err := run(ctx, logger, listener, *data); err != nil {
		logger.Error("failed to serve", "listen", *listen, "data", *data, "error", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, logger *slog.Logger, listener ferretdb.ListenerConfig, data string) error {
	if err := os.MkdirAll(data, 0o750); err != nil {
		return err
	}
	// The handler wants a folder's URI to end with a slash.
	uri := url.URL{Scheme: "file", Path: filepath.Clean(data) + "/"}
	server, err := ferretdb.New(&ferretdb.Config{
		Listener:  listener,
		Logger:    logger,
		Handler:   "sqlite",
		SQLiteURL: uri.String(),
	})
	if err != nil {
		return err
	}
	return server.Run(ctx)
}
