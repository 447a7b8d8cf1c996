"""What surfaces are answered with: routing, the item index, requests and responses. Ray Serve's part is in serve_apps/."""
