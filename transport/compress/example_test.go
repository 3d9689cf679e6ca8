package compress_test

import (
	"bytes"
	"context"
	"fmt"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/compress"
	"github.com/tandem-go/tandem/transport/tcp"
)
